#!/usr/bin/env bash
# Keep a bucket that holds something when all else is destroyed: output.sh
set -euo pipefail

[ "${OUTPUT_FORCE:-false}" != true ] || exit 0
command -v aws >/dev/null || {
    echo "Error: this machine lacks aws, AWS's command line, which looks whether the bucket $OUTPUT_BUCKET is empty." >&2
    exit 1
}
found=$(aws s3api list-object-versions --region "${OUTPUT_REGION:?}" --bucket "${OUTPUT_BUCKET:?}" --max-keys 1 \
    --query 'Versions[0].VersionId || DeleteMarkers[0].VersionId' --output text 2>&1) || {
    case "$found" in
    *NoSuchBucket*) exit 0 ;; # it was deleted by hand
    esac
    echo "Error: cannot look into the bucket $OUTPUT_BUCKET: $found" >&2
    exit 1
}
[ "$found" = None ] || {
    cat >&2 <<TEXT
Error: the bucket $OUTPUT_BUCKET holds tables, so it is kept, with its settings. Hosts, disks and network are removed.
docs/aws.md, "Destroy", says how the tables are deleted too, and how they are kept and the bucket is forgotten.
TEXT
    exit 1
}

locals {
  debian_version = { bookworm = "12", trixie = "13" }[var.debian_release]
  # Debian's own account.
  debian_owner = "136693071363"
}

# The newest image, for hosts that are made now. A host keeps the image that it was made from (ignore_changes) until it is
# replaced, one at a time: docs/aws.md, "Another image, another Debian".
data "aws_ami" "debian" {
  owners      = [local.debian_owner]
  most_recent = true

  filter {
    name   = "name"
    values = ["debian-${local.debian_version}-arm64-*"]
  }
  filter {
    name   = "architecture"
    values = ["arm64"]
  }
  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }
  filter {
    name   = "root-device-type"
    values = ["ebs"]
  }
  filter {
    name   = "state"
    values = ["available"]
  }

  lifecycle {
    postcondition {
      condition     = self.owner_id == local.debian_owner && self.architecture == "arm64"
      error_message = "The image ${self.id} belongs to ${self.owner_id} and is for ${self.architecture}; it must be Debian's (${local.debian_owner}) and for arm64."
    }
  }
}

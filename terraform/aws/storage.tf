# data of services, on volumes that outlive the instance

locals {
  # A host's first and second data volume; AWS wants a device name, which the host does not see.
  services = {
    kafka     = { path = "/var/lib/kafka", device = "/dev/sdf" }
    zookeeper = { path = "/var/lib/zookeeper", device = "/dev/sdg" }
  }
  volumes = merge([for service in keys(local.services) : {
    for key in module.topology.members[service] : "${key}/${service}" => { host = key, service = service }
  }]...)
}

resource "aws_ebs_volume" "data" {
  for_each = local.volumes

  availability_zone = aws_subnet.private[tostring(local.host_zone[each.value.host])].availability_zone
  type              = "gp3"
  size              = var.volume_gb[each.value.service]
  encrypted         = true
  kms_key_id        = var.kms_key_arn
  final_snapshot    = var.final_snapshots
  tags              = { Name = "${var.name}-${each.value.host} ${each.value.service}" }

  lifecycle {
    # A change of these would wipe the data; the host's precondition refuses a move to another zone.
    ignore_changes = [availability_zone, kms_key_id]
  }
}

resource "aws_volume_attachment" "data" {
  for_each = local.volumes

  device_name                    = local.services[each.value.service].device
  volume_id                      = aws_ebs_volume.data[each.key].id
  instance_id                    = aws_instance.host[each.value.host].id
  stop_instance_before_detaching = true
}

locals {
  data = { for id, it in local.volumes : replace(id, "/", "-") => {
    host = it.host, what = "the volume of host ${var.name}-${it.host} with the data of ${it.service}", place = id
  } }
}

# Removed before what it stands for, and not without the word: see modules/environment.
resource "terraform_data" "data" {
  for_each = local.data

  triggers_replace = aws_ebs_volume.data[each.value.place].id
  input            = merge(module.environment.guard, { GUARD_DATA = each.key, GUARD_CONTENT = jsonencode(each.value) })

  provisioner "local-exec" {
    command     = "${path.module}/../modules/environment/guard.sh note"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/../modules/environment/guard.sh release"
    environment = self.input
  }

  lifecycle {
    ignore_changes = [input]
  }

  depends_on = [aws_instance.host, aws_volume_attachment.data]
}

# The first of all to go when the environment is destroyed, so that what is refused has changed nothing.
resource "terraform_data" "guard" {
  input = module.environment.guard

  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/../modules/environment/guard.sh all"
    environment = self.input
  }

  lifecycle {
    ignore_changes = [input]
  }

  depends_on = [
    terraform_data.data,
    terraform_data.output,
    terraform_data.known_host,
    module.inventory,
    module.environment,
    aws_eip.bastion,
    aws_iam_role_policy.host,
    aws_default_security_group.closed,
    aws_route.nat,
    aws_route.public,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
    aws_vpc_security_group_egress_rule.bastion,
    aws_vpc_security_group_egress_rule.bastion_outside,
    aws_vpc_security_group_egress_rule.flow,
    aws_vpc_security_group_egress_rule.outside,
    aws_vpc_security_group_egress_rule.s3,
    aws_vpc_security_group_ingress_rule.bastion,
    aws_vpc_security_group_ingress_rule.endpoints,
    aws_vpc_security_group_ingress_rule.flow,
    aws_vpc_security_group_ingress_rule.monitoring,
    aws_vpc_security_group_ingress_rule.ssh,
  ]
}

# the tables

resource "aws_s3_bucket" "output" {
  # checkov:skip=CKV2_AWS_62: nothing waits for the tables to change
  # checkov:skip=CKV_AWS_18: a log of each access needs a second bucket; CloudTrail's data events do the same for the whole account
  # checkov:skip=CKV_AWS_144: the tables can be made again from the topic; a copy in another region would double their cost

  # The account's number makes it unique: buckets of all the world share one space of names.
  bucket        = "${var.name}-output-${data.aws_caller_identity.current.account_id}-${var.region}"
  force_destroy = var.output_force_destroy
  tags          = { Name = "${var.name} output" }

  depends_on = [terraform_data.preflight]
}

resource "aws_s3_bucket_versioning" "output" {
  bucket = aws_s3_bucket.output.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "output" {
  bucket = aws_s3_bucket.output.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
    bucket_key_enabled = var.kms_key_arn != null
  }
}

resource "aws_s3_bucket_public_access_block" "output" {
  bucket                  = aws_s3_bucket.output.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "output" {
  bucket = aws_s3_bucket.output.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "output" {
  bucket = aws_s3_bucket.output.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.output.arn, "${aws_s3_bucket.output.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.output]
}

resource "aws_s3_bucket_lifecycle_configuration" "output" {
  bucket = aws_s3_bucket.output.id

  rule {
    id     = "overwritten"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = var.output_noncurrent_days
    }
    expiration {
      expired_object_delete_marker = true
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  depends_on = [aws_s3_bucket_versioning.output]
}

# Stands before the bucket's settings when all is destroyed: a bucket that is not empty keeps them, and itself.
resource "terraform_data" "output" {
  input = {
    bucket = aws_s3_bucket.output.id
    region = var.region
    force  = var.output_force_destroy
    script = "${local.scripts}/output.sh"
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "\"$OUTPUT_SCRIPT\""
    environment = { OUTPUT_SCRIPT = self.input.script, OUTPUT_BUCKET = self.input.bucket, OUTPUT_REGION = self.input.region, OUTPUT_FORCE = self.input.force }
  }

  depends_on = [
    aws_s3_bucket_versioning.output,
    aws_s3_bucket_server_side_encryption_configuration.output,
    aws_s3_bucket_public_access_block.output,
    aws_s3_bucket_ownership_controls.output,
    aws_s3_bucket_policy.output,
    aws_s3_bucket_lifecycle_configuration.output,
  ]
}

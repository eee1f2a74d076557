# What hosts may do in AWS: the writers use the bucket, all are reached by Session Manager, and nothing else.

locals {
  writers = ["spark_worker", "streaming"]
  duties = { for key, host in var.hosts : key =>
    length(setintersection(host.groups, local.writers)) > 0 ? "writer" : "member"
  }
  # A member that is not reached by Session Manager has nothing to ask of AWS.
  used_duties = toset([for duty in values(local.duties) : duty if duty == "writer" || var.access == "ssm"])

  session_statements = var.access != "ssm" ? [] : [{
    Sid    = "SessionManager"
    Effect = "Allow"
    Action = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
    ]
    # These have no resources to name.
    Resource = ["*"]
  }]
  bucket_statements = concat(
    [
      {
        Sid      = "OutputBucket"
        Effect   = "Allow"
        Action   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
        Resource = [aws_s3_bucket.output.arn]
      },
      {
        Sid      = "OutputObjects"
        Effect   = "Allow"
        Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
        Resource = ["${aws_s3_bucket.output.arn}/*"]
      },
    ],
    var.kms_key_arn == null ? [] : [{
      Sid      = "OutputKey"
      Effect   = "Allow"
      Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource = [var.kms_key_arn]
    }],
  )
}

resource "aws_iam_role" "host" {
  for_each = local.used_duties

  name        = "${var.name}-${var.region}-${each.value}"
  description = "Hosts of ${var.name} in ${var.region}: ${each.value}"
  tags        = { Name = "${var.name} ${each.value}" }

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })

  depends_on = [terraform_data.preflight]
}

resource "aws_iam_role_policy" "host" {
  for_each = local.used_duties

  name = "host"
  role = aws_iam_role.host[each.value].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.session_statements, each.value == "writer" ? local.bucket_statements : [])
  })
}

resource "aws_iam_instance_profile" "host" {
  for_each = local.used_duties

  name = aws_iam_role.host[each.value].name
  role = aws_iam_role.host[each.value].name
  tags = { Name = "${var.name} ${each.value}" }
}

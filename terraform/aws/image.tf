locals {
  debian_version = { bookworm = "12", trixie = "13" }[var.debian_release]
  # Debian's own account.
  debian_owner = "136693071363"
}

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

# The image, once chosen, stays until another release is asked for: a new image of Debian replaces no host.
# To take the newest: terraform apply -replace=terraform_data.image
resource "terraform_data" "image" {
  triggers_replace = [var.debian_release, var.arch]
  input            = data.aws_ami.debian.id

  lifecycle {
    ignore_changes = [input]
  }
}

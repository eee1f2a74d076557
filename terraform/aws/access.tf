# access = bastion: one small host with a public address, whose ssh is open to an allow-list, and which leads to the
# hosts' ssh and to the package archive.

resource "aws_security_group" "bastion" {
  count = var.access == "bastion" ? 1 : 0

  name        = "imdb ${var.name} bastion"
  description = "Bastion of ${var.name}"
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name} bastion" }
}

resource "aws_vpc_security_group_ingress_rule" "bastion" {
  for_each = var.access == "bastion" ? toset(var.bastion_allowed_cidrs) : toset([])

  security_group_id = aws_security_group.bastion[0].id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.ports.pipeline_ssh_port
  to_port           = local.ports.pipeline_ssh_port
  description       = "ssh from the allow-list"
  tags              = { Name = "${var.name} bastion ssh" }
}

resource "aws_vpc_security_group_egress_rule" "bastion" {
  for_each = var.access == "bastion" ? local.shape_set : toset([])

  security_group_id            = aws_security_group.bastion[0].id
  referenced_security_group_id = aws_security_group.host[each.value].id
  ip_protocol                  = "tcp"
  from_port                    = local.ports.pipeline_ssh_port
  to_port                      = local.ports.pipeline_ssh_port
  description                  = "ssh to ${each.value}"
  tags                         = { Name = "${var.name} ssh" }
}

resource "aws_vpc_security_group_egress_rule" "bastion_outside" {
  for_each = var.access == "bastion" ? { http = 80, https = 443 } : {}

  security_group_id = aws_security_group.bastion[0].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  description       = each.key
  tags              = { Name = "${var.name} bastion ${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  # checkov:skip=CKV_AWS_24: the rule names the bastion's group and no range; the check takes no range for every range

  for_each = var.access == "bastion" ? local.shape_set : toset([])

  security_group_id            = aws_security_group.host[each.value].id
  referenced_security_group_id = aws_security_group.bastion[0].id
  ip_protocol                  = "tcp"
  from_port                    = local.ports.pipeline_ssh_port
  to_port                      = local.ports.pipeline_ssh_port
  description                  = "ssh from the bastion"
  tags                         = { Name = "${var.name} ssh" }
}

resource "aws_instance" "bastion" {
  # checkov:skip=CKV2_AWS_41: the bastion asks nothing of AWS, so it gets no role to be stolen
  # checkov:skip=CKV_AWS_126: metrics by the minute cost per instance, and nothing here reads them

  count = var.access == "bastion" ? 1 : 0

  ami                    = data.aws_ami.debian.id
  instance_type          = "t4g.nano"
  key_name               = aws_key_pair.operator.key_name
  subnet_id              = aws_subnet.public["0"].id
  vpc_security_group_ids = [aws_security_group.bastion[0].id]
  ebs_optimized          = true
  tags                   = { Name = "${var.name} bastion" }

  # All hosts are connected to at once, and each connection comes by one of the bastion's own: sshd would begin to drop
  # at ten.
  user_data = <<-SCRIPT
    #!/bin/sh
    echo 'MaxStartups 100' >/etc/ssh/sshd_config.d/pipeline.conf
    systemctl reload ssh
  SCRIPT

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = 8
    encrypted             = true
    kms_key_id            = var.kms_key_arn
    delete_on_termination = true
    tags                  = { Name = "${var.name} bastion system" }
  }

  lifecycle {
    # As with hosts.
    ignore_changes = [ami, user_data, root_block_device[0].kms_key_id]
  }

  depends_on = [aws_route.public, aws_route_table_association.public]
}

resource "aws_eip" "bastion" {
  count = var.access == "bastion" ? 1 : 0

  domain   = "vpc"
  instance = aws_instance.bastion[0].id
  tags     = { Name = "${var.name} bastion" }

  depends_on = [aws_internet_gateway.this]
}

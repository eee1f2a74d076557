data "aws_availability_zones" "region" {
  # checkov:skip=CKV_AWS_394: the first three in the order of their names are taken, and a subnet keeps the zone that it has

  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
  filter {
    name   = "zone-type"
    values = ["availability-zone"]
  }
}

locals {
  zones = coalesce(var.zones, slice(sort(data.aws_availability_zones.region.names), 0,
  min(3, length(data.aws_availability_zones.region.names))))

  subnet = coalesce(var.subnet, format("10.%d.%d.0/20",
  64 + parseint(substr(sha256(var.name), 0, 2), 16) % 64, 16 * (parseint(substr(sha256(var.name), 2, 2), 16) % 16)))
  subnet_bits  = 24 - tonumber(split("/", local.subnet)[1])
  subnet_rooms = pow(2, local.subnet_bits)

  # Two ranges overlap when the larger one's prefix is the same in both.
  overlapping_peers = [for cidr in var.peer_cidrs : cidr if try(
    cidrsubnet("${split("/", cidr)[0]}/${min(split("/", cidr)[1], split("/", local.subnet)[1])}", 0, 0) ==
    cidrsubnet("${split("/", local.subnet)[0]}/${min(split("/", cidr)[1], split("/", local.subnet)[1])}", 0, 0),
  false)]

  # One /24 a zone for hosts, so that a host's number is the end of its address; the last /24 in four for public ones.
  # (A plan that preflight refuses for its size must still get there.)
  private_subnets = [for zone in range(length(local.zones)) :
  cidrsubnet(local.subnet, local.subnet_bits, zone % local.subnet_rooms)]
  public_subnets = [for zone in range(length(local.zones)) :
  cidrsubnet(cidrsubnet(local.subnet, local.subnet_bits, local.subnet_rooms - 1), 2, zone)]

  nat_zones    = var.egress == "nat" ? range(var.nat_per_zone ? length(local.zones) : 1) : []
  public_zones = length(local.nat_zones) > 0 ? local.nat_zones : var.access == "bastion" ? [0] : []
  zone_set     = toset([for zone in range(length(local.zones)) : tostring(zone)])
}

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11: flow logs cost by the gigabyte, and whether to keep them is the account's decision (docs/aws.md)

  cidr_block           = local.subnet
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }

  depends_on = [terraform_data.preflight]
}

# Closed: whatever is made in the VPC and names no group can talk to nobody.
resource "aws_default_security_group" "closed" {
  vpc_id  = aws_vpc.this.id
  ingress = []
  egress  = []
  tags    = { Name = "${var.name} unused" }
}

# for hosts

resource "aws_subnet" "private" {
  for_each = local.zone_set

  vpc_id                  = aws_vpc.this.id
  cidr_block              = local.private_subnets[each.value]
  availability_zone       = local.zones[each.value]
  map_public_ip_on_launch = false
  tags                    = { Name = "${var.name} hosts ${local.zones[each.value]}" }
}

resource "aws_route_table" "private" {
  for_each = local.zone_set

  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name} hosts ${local.zones[each.value]}" }
}

resource "aws_route_table_association" "private" {
  for_each = local.zone_set

  subnet_id      = aws_subnet.private[each.value].id
  route_table_id = aws_route_table.private[each.value].id
}

# S3 without a way through the internet, whatever egress is. Only what hosts need: their bucket and, for its agent,
# Session Manager's.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for zone in sort(local.zone_set) : aws_route_table.private[zone].id]
  tags              = { Name = "${var.name} s3" }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OutputBucket"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.output.arn, "${aws_s3_bucket.output.arn}/*"]
      },
      {
        Sid       = "SessionManagerAgent"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:GetObject"
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::amazon-ssm-${var.region}/*"
      },
    ]
  })
}

# egress = nat

resource "aws_internet_gateway" "this" {
  count = length(local.public_zones) > 0 ? 1 : 0

  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each = toset([for zone in local.public_zones : tostring(zone)])

  vpc_id                  = aws_vpc.this.id
  cidr_block              = local.public_subnets[each.value]
  availability_zone       = local.zones[each.value]
  map_public_ip_on_launch = false
  tags                    = { Name = "${var.name} public ${local.zones[each.value]}" }
}

resource "aws_route_table" "public" {
  count = length(local.public_zones) > 0 ? 1 : 0

  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name} public" }
}

resource "aws_route" "public" {
  count = length(local.public_zones) > 0 ? 1 : 0

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_eip" "nat" {
  for_each = toset([for zone in local.nat_zones : tostring(zone)])

  domain = "vpc"
  tags   = { Name = "${var.name} nat ${local.zones[each.value]}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  for_each = aws_eip.nat

  allocation_id = each.value.id
  subnet_id     = aws_subnet.public[each.key].id
  tags          = { Name = "${var.name} ${local.zones[each.key]}" }

  depends_on = [aws_route.public, aws_route_table_association.public]
}

resource "aws_route" "nat" {
  for_each = var.egress == "nat" ? local.zone_set : toset([])

  route_table_id         = aws_route_table.private[each.value].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[var.nat_per_zone ? each.value : "0"].id
}

# egress = endpoints

locals {
  endpoint_numbers = { ssm = 250, ssmmessages = 251, ec2messages = 252 }
}

resource "aws_vpc_endpoint" "interface" {
  for_each = var.egress == "endpoints" && var.access == "ssm" ? toset(keys(local.endpoint_numbers)) : toset([])

  vpc_id              = aws_vpc.this.id
  service_name        = "com.amazonaws.${var.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for zone in sort(local.zone_set) : aws_subnet.private[zone].id]
  security_group_ids  = [aws_security_group.endpoints[0].id]
  tags                = { Name = "${var.name} ${each.value}" }

  # Addresses behind those of hosts (10 to 249): AWS would take any, and so that of a host that comes later.
  dynamic "subnet_configuration" {
    for_each = sort(local.zone_set)
    content {
      subnet_id = aws_subnet.private[subnet_configuration.value].id
      ipv4      = cidrhost(local.private_subnets[subnet_configuration.value], local.endpoint_numbers[each.value])
    }
  }
}

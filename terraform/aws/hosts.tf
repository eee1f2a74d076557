locals {
  machines = { for key, host in var.hosts : key => {
    name    = "${var.name}-${key}"
    address = cidrhost(local.private_subnets[local.host_zone[key]], module.topology.numbers[key])
  } }

  # A host's zone follows from its key alone, so it does not move when others come or go: the number at its end goes
  # round the zones (core-1 the first, core-2 the second ...); a key without one takes any by its hash.
  host_zone = { for key, host in var.hosts : key => try(index(local.zones, host.zone),
    (parseint(regex("[0-9]{1,6}$", key), 10) + length(local.zones) - 1) % length(local.zones),
    parseint(substr(sha256(key), 0, 6), 16) % length(local.zones),
  ) }

  # The first that fits; they stand in the order of their price.
  instance_sizes = [
    { type = "c7g.medium", cpus = 1, memory_mb = 2048 },
    { type = "m7g.medium", cpus = 1, memory_mb = 4096 },
    { type = "r7g.medium", cpus = 1, memory_mb = 8192 },
    { type = "c7g.large", cpus = 2, memory_mb = 4096 },
    { type = "m7g.large", cpus = 2, memory_mb = 8192 },
    { type = "r7g.large", cpus = 2, memory_mb = 16384 },
    { type = "c7g.xlarge", cpus = 4, memory_mb = 8192 },
    { type = "m7g.xlarge", cpus = 4, memory_mb = 16384 },
    { type = "r7g.xlarge", cpus = 4, memory_mb = 32768 },
    { type = "c7g.2xlarge", cpus = 8, memory_mb = 16384 },
    { type = "m7g.2xlarge", cpus = 8, memory_mb = 32768 },
    { type = "r7g.2xlarge", cpus = 8, memory_mb = 65536 },
    { type = "c7g.4xlarge", cpus = 16, memory_mb = 32768 },
    { type = "m7g.4xlarge", cpus = 16, memory_mb = 65536 },
    { type = "r7g.4xlarge", cpus = 16, memory_mb = 131072 },
    { type = "c7g.8xlarge", cpus = 32, memory_mb = 65536 },
    { type = "m7g.8xlarge", cpus = 32, memory_mb = 131072 },
    { type = "r7g.8xlarge", cpus = 32, memory_mb = 262144 },
    { type = "c7g.12xlarge", cpus = 48, memory_mb = 98304 },
    { type = "m7g.12xlarge", cpus = 48, memory_mb = 196608 },
    { type = "c7g.16xlarge", cpus = 64, memory_mb = 131072 },
    { type = "r7g.12xlarge", cpus = 48, memory_mb = 393216 },
    { type = "m7g.16xlarge", cpus = 64, memory_mb = 262144 },
    { type = "r7g.16xlarge", cpus = 64, memory_mb = 524288 },
  ]
  # Graviton families have a g behind their generation: m7g, c6gn, t4g, x2gd. (g4dn and g6 have it before.)
  graviton = "^(a1|[a-z]+[0-9]+g[a-z]*)\\.(medium|large|[0-9]*xlarge|metal(-[0-9]+xl)?)$"

  fitting = { for key, host in var.hosts : key => try(
    [for size in local.instance_sizes : size.type if size.cpus >= host.cpus && size.memory_mb >= host.memory_mb][0], null
  ) }
  instance_types = { for key, host in var.hosts : key => coalesce(host.instance_type, local.fitting[key], "none") }
  offered        = [for index, type in data.aws_ec2_instance_type_offerings.zones.instance_types : "${type} ${data.aws_ec2_instance_type_offerings.zones.locations[index]}"]

  ssm_agent = {
    url = "https://s3.${var.region}.${data.aws_partition.current.dns_suffix}/amazon-ssm-${var.region}/${var.ssm_agent_version}/debian_arm64/amazon-ssm-agent.deb"
    # AWS's keys for the agent: of 2026 and, for versions before July 2026, of 2025.
    keys = join("", [for file in ["ssm-agent-2026.asc", "ssm-agent-2025.asc"] : file("${path.module}/keys/${file}")])
  }
}

data "aws_ec2_instance_type_offerings" "zones" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = concat(sort(distinct(values(local.instance_types))), ["t4g.nano"])
  }
}

resource "aws_key_pair" "operator" {
  key_name_prefix = "${var.name}-"
  public_key      = trimspace(file(module.key.public_key_file))
}

resource "aws_instance" "host" {
  # checkov:skip=CKV_AWS_126: metrics by the minute cost per instance, and nothing here reads them

  for_each = local.machines

  ami           = data.aws_ami.debian.id
  instance_type = local.instance_types[each.key]
  key_name      = aws_key_pair.operator.key_name

  # The address is the host's, whichever instance it is: others know it by this. A public one it gets from nowhere.
  subnet_id              = aws_subnet.private[tostring(local.host_zone[each.key])].id
  private_ip             = each.value.address
  vpc_security_group_ids = [aws_security_group.host[local.shapes[each.key]].id]

  iam_instance_profile    = try(aws_iam_instance_profile.host[local.duties[each.key]].name, null)
  disable_api_termination = var.termination_protection && !var.hosts[each.key].spot
  ebs_optimized           = true
  tags                    = { Name = each.value.name, Groups = join(" ", var.hosts[each.key].groups) }

  user_data = templatefile("${path.module}/first_boot.sh.tftpl", {
    name    = each.value.name
    address = each.value.address
    release = var.debian_release
    mirror  = var.debian_mirror
    agent   = var.access == "ssm"
    url     = local.ssm_agent.url
    keys    = local.ssm_agent.keys
    install = file("${path.module}/scripts/ssm_agent.sh")
  })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.hosts[each.key].disk_gb
    encrypted             = true
    kms_key_id            = var.kms_key_arn
    delete_on_termination = true
    tags                  = { Name = "${each.value.name} system" }
  }

  dynamic "instance_market_options" {
    for_each = var.hosts[each.key].spot ? ["spot"] : []
    content {
      market_type = "spot"
      spot_options {
        spot_instance_type             = "one-time"
        instance_interruption_behavior = "terminate"
      }
    }
  }

  lifecycle {
    # These matter at first boot only; a change of them is no reason to stop or replace a host. An image that Debian has
    # withdrawn serves the hosts that were made from it.
    ignore_changes = [ami, key_name, user_data, root_block_device[0].kms_key_id]
    precondition {
      condition = alltrue([for id, volume in local.volumes :
        aws_ebs_volume.data[id].availability_zone == aws_subnet.private[tostring(local.host_zone[each.key])].availability_zone
        if volume.host == each.key
      ])
      error_message = "Host ${each.value.name} is to move to ${local.zones[local.host_zone[each.key]]}, and a data volume cannot leave its zone. Give it `zone = \"${try([for id, volume in local.volumes : aws_ebs_volume.data[id].availability_zone if volume.host == each.key][0], "")}\"`, or give up its data: ${join(" ", [for id, volume in local.volumes : "-replace='aws_ebs_volume.data[\"${id}\"]'" if volume.host == each.key])}"
    }
  }

  # What the first boot needs.
  depends_on = [aws_route.nat, aws_route_table_association.private, aws_vpc_endpoint.s3, aws_vpc_endpoint.interface]
}

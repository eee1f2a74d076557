locals {
  # Relative: the checkout may be moved.
  generated = module.environment.generated
  scripts   = "${path.module}/scripts"
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

module "environment" {
  source        = "../modules/environment"
  name          = var.name
  target        = "aws"
  wanted_target = var.target
  inventories   = "${path.root}/../../inventories"
  hosts         = keys(var.hosts)
  data          = local.data
  delete_data   = var.delete_data
  home          = { account = data.aws_caller_identity.current.account_id, region = var.region }
}

module "topology" {
  source             = "../modules/topology"
  hosts              = var.hosts
  replication_factor = var.replication_factor
}

locals {
  # Host by host, what modules/topology cannot know.
  host_problems = concat(
    [for key, host in var.hosts :
      "Host \"${key}\" has the instance_type ${host.instance_type}, which is no Graviton (arm64) one. Take one such as m7g.large or t4g.medium, or leave it out: it follows from cpus and memory_mb."
    if host.instance_type == null ? false : !can(regex(local.graviton, host.instance_type))],
    [for key, host in var.hosts :
      "Host \"${key}\" wants ${host.cpus} cpus and ${host.memory_mb} MiB of memory; no instance of m7g, c7g or r7g has that (at most 64 and 524288). Ask for less, or give an instance_type."
    if host.instance_type == null && local.fitting[key] == null],
    [for key, host in var.hosts :
      "Host \"${key}\" is spot and has the groups ${join(", ", host.groups)}. AWS takes spot instances away at any time: only a host whose one group is spark_worker may be spot."
    if host.spot && !(length(host.groups) == 1 && contains(host.groups, "spark_worker"))],
    [for key, host in var.hosts :
      "Host \"${key}\" has the zone ${host.zone}; here zones are ${join(", ", local.zones)}. Take one of them, or name it in zones."
    if host.zone == null ? false : !contains(local.zones, host.zone)],
    [for key, host in var.hosts :
      "Host \"${key}\" has a system disk of ${host.disk_gb} GiB; Debian's image needs at least 8."
    if host.disk_gb < 8],
    [for key, type in local.instance_types :
      "Host \"${key}\" is to be a ${type}, which AWS does not offer in ${local.zones[local.host_zone[key]]}. Give it another instance_type or zone, or choose other zones."
    if can(regex(local.graviton, type)) && !contains(local.offered, "${type} ${local.zones[local.host_zone[key]]}")],
    [for group, crowd in local.crowded :
      "The group ${group} is spread unevenly: ${join(", ", crowd)} share a zone while others have fewer of it, so the loss of that zone costs more than it must. End the keys in numbers that follow one another (core-1, core-2, core-3), or give each its zone; if it is meant so, give these hosts that zone."
    ],
  )

  # Of the groups whose quorum or replicas must outlive a zone: members in one zone, more than one more than in the
  # emptiest, and put there by their keys alone.
  crowded = { for group, crowd in { for group in ["zookeeper", "kafka"] : group => flatten([
    for zone in range(length(local.zones)) : [
      for key in module.topology.members[group] : key
      if local.host_zone[key] == zone && local.zone_members[group][zone] > min(local.zone_members[group]...) + 1
    ]
  ]) } : group => crowd if anytrue([for key in crowd : var.hosts[key].zone == null]) }
  zone_members = { for group in ["zookeeper", "kafka"] : group => [
    for zone in range(length(local.zones)) : length([for key in module.topology.members[group] : key if local.host_zone[key] == zone])
  ] }
}

# Everything that can be refused is refused here, before anything is made.
resource "terraform_data" "preflight" {
  input = {
    name = var.name
  }

  lifecycle {
    precondition {
      condition     = length(module.environment.problems) == 0
      error_message = module.environment.message
    }
    precondition {
      condition     = try(module.environment.home.region, var.region) == var.region
      error_message = "region is ${var.region}, and the environment \"${var.name}\" was made in ${try(module.environment.home.region, "another")}: its hosts and their data are there, and nothing moves them. Set region back; for hosts in ${var.region} take another name."
    }
    precondition {
      condition     = try(module.environment.home.account, data.aws_caller_identity.current.account_id) == data.aws_caller_identity.current.account_id
      error_message = "Your credentials are of the account ${data.aws_caller_identity.current.account_id}, and the environment \"${var.name}\" was made in ${try(module.environment.home.account, "another")}: its hosts and their data are there. Take credentials of that account (AWS_PROFILE); in this one take another name."
    }
    precondition {
      condition     = length(module.topology.problems) == 0
      error_message = module.topology.message
    }
    precondition {
      condition     = length(local.host_problems) == 0
      error_message = join("\n", local.host_problems)
    }
    precondition {
      condition     = length(local.zones) >= 1 && length(setsubtract(local.zones, data.aws_availability_zones.region.names)) == 0
      error_message = "zones has ${join(", ", setsubtract(local.zones, data.aws_availability_zones.region.names))}, which this account does not have in ${var.region}. It has ${join(", ", data.aws_availability_zones.region.names)}."
    }
    precondition {
      condition     = local.subnet_rooms >= length(local.zones) + 1
      error_message = "subnet ${local.subnet} is too small: ${length(local.zones)} zones need a /24 each and one more, ${length(local.zones) + 1} in all, and it has ${local.subnet_rooms}. Take ${length(local.zones) == 1 ? "a /23" : "a /22"} or larger, or fewer zones."
    }
    precondition {
      condition     = length(local.overlapping_peers) == 0
      error_message = "subnet ${local.subnet} overlaps ${join(", ", local.overlapping_peers)} of peer_cidrs: packets could not be routed between them. Give another subnet."
    }
    precondition {
      condition     = var.egress == "nat" || var.debian_mirror != ""
      error_message = "egress is endpoints, so hosts reach no Debian archive outside: give debian_mirror, a mirror in the VPC or in a network that it is peered with, or egress = nat."
    }
    precondition {
      condition     = var.access == "ssm" || length(var.bastion_allowed_cidrs) > 0
      error_message = "access is bastion and bastion_allowed_cidrs is empty: nobody could reach it. Give your own address, such as [\"203.0.113.7/32\"], or access = ssm."
    }
    precondition {
      condition     = var.access == "bastion" || length(var.bastion_allowed_cidrs) == 0
      error_message = "bastion_allowed_cidrs is given and access is ssm, which has no bastion. Give access = bastion, or leave the ranges out."
    }
    precondition {
      condition     = var.access == "ssm" || contains(local.offered, "t4g.nano ${local.zones[0]}")
      error_message = "access is bastion, and AWS offers no t4g.nano in ${local.zones[0]}, where it would stand. Put another zone first in zones."
    }
  }

  provisioner "local-exec" {
    command     = "${local.scripts}/preflight.sh"
    environment = { AWS_ACCESS_BY = var.access }
  }
}

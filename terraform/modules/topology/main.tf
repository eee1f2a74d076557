# What every target asks of its map of hosts. A target refuses the plan if there are problems.
terraform {
  required_version = ">= 1.6"
}

locals {
  groups  = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer"]
  members = { for group in local.groups : group => [for key, host in var.hosts : key if contains(host.groups, group)] }
  used    = toset(flatten([for host in var.hosts : tolist(host.groups)]))

  # A host's number in its subnet does not change when others come or go.
  numbers = { for key, host in var.hosts : key =>
    coalesce(host.number, 10 + parseint(substr(sha256(key), 0, 6), 16) % 240)
  }
  shared_numbers = { for key, number in local.numbers : key => number
    if length([for other in values(local.numbers) : other if other == number]) > 1
  }

  # Hosts without any group are bare: for trying a role. A pipeline needs all of its parts.
  bare      = length(local.used) == 0
  known     = length(setsubtract(local.used, local.groups)) == 0
  missing   = local.bare || !local.known ? [] : [for group in local.groups : group if length(local.members[group]) == 0]
  ensemble  = length(local.members["zookeeper"])
  key_shape = "^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$"

  problems = concat(
    length(var.hosts) > 0 ? [] : ["hosts is empty: a topology needs at least one host. Take one of terraform/topologies/*.tfvars."],
    [for key in keys(var.hosts) :
      "The key \"${key}\" of hosts must have 1 to 20 of a-z, 0-9 and '-', no '-' first or last: it becomes part of the host's name."
    if !can(regex(local.key_shape, key))],
    [for key, host in var.hosts :
      "Host \"${key}\" has unknown groups [${join(", ", setsubtract(host.groups, local.groups))}]. Known are ${join(", ", local.groups)}."
    if length(setsubtract(host.groups, local.groups)) > 0],
    [for key, host in var.hosts :
      "Host \"${key}\" has ${host.cpus} cpus, ${host.memory_mb} MiB of memory and ${host.disk_gb} GiB of disk; it needs whole numbers of at least 1 cpu, 512 MiB and 1 GiB."
    if !(host.cpus >= 1 && host.memory_mb >= 512 && host.disk_gb >= 1 && floor(host.cpus) == host.cpus && floor(host.memory_mb) == host.memory_mb && floor(host.disk_gb) == host.disk_gb)],
    [for key, host in var.hosts :
      "Host \"${key}\" has the number ${host.number}; it must be a whole number from 10 to 249."
    if host.number == null ? false : !(host.number >= 10 && host.number <= 249 && floor(host.number) == host.number)],
    length(local.shared_numbers) == 0 ? [] : [
      "Several hosts got one number in the subnet: ${join(", ", [for key, number in local.shared_numbers : "${key} -> ${number}"])}. Give one of them another `number` (10 to 249) in hosts."
    ],
    length(local.missing) == 0 ? [] : [
      "No host has ${length(local.missing) == 1 ? "the group" : "any of the groups"} ${join(", ", local.missing)}: the pipeline needs at least one host in each. Give them to a host, or take one of terraform/topologies/*.tfvars. (Hosts that all have no group are made bare.)"
    ],
    local.ensemble == 0 || local.ensemble % 2 == 1 ? [] : [
      "The group zookeeper has ${local.ensemble} hosts (${join(", ", local.members["zookeeper"])}); an ensemble needs an odd number: one more or one less loses nothing."
    ],
  )
}

# What every target asks of its map of hosts. A target refuses the plan if there are problems.
terraform {
  required_version = ">= 1.6"
}

locals {
  groups  = ["zookeeper", "kafka", "spark_master", "spark_worker", "streaming", "producer", "monitoring"]
  members = { for group in local.groups : group => [for key, host in var.hosts : key if contains(host.groups, group)] }
  used    = toset(flatten([for host in var.hosts : tolist(host.groups)]))

  # A host's number in its subnet does not change when others come or go.
  numbers = { for key, host in var.hosts : key =>
    coalesce(host.number, 10 + parseint(substr(sha256(key), 0, 6), 16) % 240)
  }
  free_numbers = [for number in range(10, 250) : number if !contains(values(local.numbers), number)]
  shared_numbers = { for key, number in local.numbers : key => number
    if length([for other in values(local.numbers) : other if other == number]) > 1
  }

  # ZooKeeper's and Kafka's ids stay with their data, whoever else comes or goes: as given, else the number from 1 to 255
  # at the end of the key, else the host's number in the subnet.
  key_numbers = { for key in keys(var.hosts) : key => try(parseint(regex("[0-9]+$", key), 10), 0) }
  ids = { for key, host in var.hosts : key =>
    coalesce(host.id, local.key_numbers[key] >= 1 && local.key_numbers[key] <= 255 ? local.key_numbers[key] : local.numbers[key])
  }
  with_ids = { for key, host in var.hosts : key => local.ids[key]
    if length(setintersection(host.groups, ["zookeeper", "kafka"])) > 0
  }
  shared_ids = { for group in ["zookeeper", "kafka"] : group => { for key in local.members[group] : key => local.ids[key]
    if length([for other in local.members[group] : other if local.ids[other] == local.ids[key]]) > 1
  } }

  unracked = [for key in local.members["kafka"] : key if var.hosts[key].rack == null]

  # Hosts without any group are bare: for trying a role. A pipeline needs all of its parts.
  bare      = length(local.used) == 0
  known     = length(setsubtract(local.used, local.groups)) == 0
  missing   = local.bare || !local.known ? [] : [for group in local.groups : group if length(local.members[group]) == 0 && group != "monitoring"]
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
      "Several hosts got one number in the subnet: ${join(", ", [for key, number in local.shared_numbers : "${key} -> ${number}"])}. Give the one that is new another `number` in hosts, such as ${join(" or ", slice(local.free_numbers, 0, min(2, length(local.free_numbers))))}; one that is there must keep its own, as it would be replaced."
    ],
    length(local.missing) == 0 ? [] : [
      "No host has ${length(local.missing) == 1 ? "the group" : "any of the groups"} ${join(", ", local.missing)}: the pipeline needs at least one host in each. Give them to a host, or take one of terraform/topologies/*.tfvars. (Hosts that all have no group are made bare.)"
    ],
    [for key, id in local.with_ids :
      "Host \"${key}\" would have the id ${id} in ZooKeeper or Kafka; it must be a whole number from 1 to 255. Give it an `id` in hosts."
    if !(id >= 1 && id <= 255 && floor(id) == id)],
    [for group, ids in local.shared_ids :
      "Several hosts of the group ${group} got one id: ${join(", ", [for key, id in ids : "${key} -> ${id}"])}. Give one of them another `id` in hosts; one that has data must keep its own."
    if length(ids) > 0],
    length(local.unracked) == 0 || length(local.unracked) == length(local.members["kafka"]) ? [] : [
      "Of the group kafka some hosts have a rack and ${join(", ", local.unracked)} none: Kafka places replicas by racks if all brokers have one. Give all of them a `rack`, or none."
    ],
    var.replication_factor == null || local.bare || !local.known ? [] : !(var.replication_factor >= 1 && floor(var.replication_factor) == var.replication_factor) ? [
      "replication_factor is ${var.replication_factor}; it must be a whole number from 1 up."
      ] : var.replication_factor <= length(local.members["kafka"]) ? [] : [
      "replication_factor is ${var.replication_factor}, and the group kafka has ${length(local.members["kafka"])} ${length(local.members["kafka"]) == 1 ? "host" : "hosts"} (${join(", ", local.members["kafka"])}): each replica needs a broker of its own. Ask for ${length(local.members["kafka"])} at most, or add brokers."
    ],
    local.ensemble == 0 || local.ensemble % 2 == 1 ? [] : [
      "The group zookeeper has ${local.ensemble} hosts (${join(", ", local.members["zookeeper"])}); an ensemble needs an odd number: one more or one less loses nothing."
    ],
  )
}

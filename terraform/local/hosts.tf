locals {
  # The machine's architecture, by the loader that its C library puts at a fixed place.
  machine_arch = fileexists("/lib64/ld-linux-x86-64.so.2") ? "x86_64" : "arm64"
  emulated     = var.arch != local.machine_arch

  system = "${var.debian_release} ${var.arch}"

  emulation_generation = try(tonumber(trimspace(file("${local.state}/emulation.generation"))), 0)
  emulation_alive      = fileexists("/proc/sys/fs/binfmt_misc/imdb-${var.arch == "arm64" ? "aarch64" : "x86_64"}")

  machines = { for key, host in var.hosts : key => {
    name    = "${var.name}-${key}"
    machine = "${local.id}-${module.topology.numbers[key]}"
    folder  = "${local.state}/hosts/${key}"
    address = local.addresses[key]
  } }

  # How often a host was started, and whether it lives: its supervisor's command line has the machine's name, and the image
  # that its disk lies over is there.
  generations = { for key, it in local.machines : key => try(tonumber(trimspace(file("${it.folder}/generation"))), 0) }
  alive = { for key, it in local.machines : key =>
    try(strcontains(file("/proc/${trimspace(file("${it.folder}/supervisor.pid"))}/cmdline"), it.machine), false) &&
    try(fileexists("${trimspace(file("${it.folder}/image"))}/etc/debian_version"), true)
  }

  host_environment = { for key, it in local.machines : key => merge(local.image_environment, {
    LOCAL_HOST       = it.name
    LOCAL_MACHINE    = it.machine
    LOCAL_FOLDER     = it.folder
    LOCAL_ADDRESS    = it.address
    LOCAL_GATEWAY    = cidrhost(local.subnet, 1)
    LOCAL_PUBLIC_KEY = module.key.public_key_file
    LOCAL_OUTPUT     = "${local.state}/output"
  }) }

  # What a run must not delete unasked.
  data = merge(
    { for key, it in local.machines : key => {
      host = key, what = "the disk of host ${it.name}, with all that is on it (${it.folder})", place = it.folder
      file = "${it.folder}/system"
    } },
    { tables = { host = "tables", what = "the tables of all hosts (${local.state}/output)", place = local.state, file = null } },
  )
}

# A host's disk, and with it its data, stays when the host dies or restarts.
resource "terraform_data" "disk" {
  for_each = local.machines

  triggers_replace = each.value.folder
  input            = local.host_environment[each.key]

  provisioner "local-exec" {
    command     = "${local.scripts}/host.sh create"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/host.sh delete"
    environment = self.input
  }

  lifecycle {
    ignore_changes = [input]
    precondition {
      condition     = try(trimspace(file("${each.value.folder}/system")), local.system) == local.system
      error_message = "The disk of host ${each.value.name} holds ${try(trimspace(file("${each.value.folder}/system")), "another system")}, and ${local.system} is asked for. A disk is never wiped for that: give the new hosts another name (make up NAME=...), or remove these with their data first (make down)."
    }
  }

  depends_on = [terraform_data.image, module.key, terraform_data.output, terraform_data.location]
}

# The tables, a folder that all hosts share.
resource "terraform_data" "output" {
  triggers_replace = local.state
  input            = { LOCAL_STATE = local.state }

  provisioner "local-exec" {
    command     = "${local.scripts}/output.sh create"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/output.sh delete"
    environment = self.input
  }

  depends_on = [terraform_data.preflight, terraform_data.location]
}

# Removed before what it stands for, and not without the word: see modules/environment.
resource "terraform_data" "data" {
  for_each = local.data

  triggers_replace = each.key == "tables" ? terraform_data.output.id : terraform_data.disk[each.key].id
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

  depends_on = [terraform_data.machine]
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

  depends_on = [terraform_data.data, terraform_data.output_link, terraform_data.location, module.inventory, module.environment]
}

# The running host. One that is found dead is started again from its disk.
resource "terraform_data" "machine" {
  for_each = local.machines

  triggers_replace = [
    terraform_data.network.id,
    terraform_data.disk[each.key].id,
    module.key.id,
    each.value.address,
    local.alive[each.key] ? local.generations[each.key] : local.generations[each.key] + 1,
  ]
  input = local.host_environment[each.key]

  provisioner "local-exec" {
    command     = "${local.scripts}/host.sh start"
    environment = merge(self.input, { LOCAL_GENERATION = self.triggers_replace[4] })
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/host.sh stop"
    environment = self.input
  }

  lifecycle {
    ignore_changes = [input]
  }

  depends_on = [terraform_data.network, terraform_data.names]
}

# Hosts know each other by name.
resource "terraform_data" "names" {
  triggers_replace = [local.machines, [for key in sort(keys(local.machines)) : terraform_data.disk[key].id]]

  provisioner "local-exec" {
    command = "${local.scripts}/host.sh names"
    environment = merge(local.environment, {
      LOCAL_NAMES   = join("\n", [for it in values(local.machines) : "${it.address} ${it.name}"])
      LOCAL_FOLDERS = join("\n", [for it in values(local.machines) : it.folder])
    })
  }
}

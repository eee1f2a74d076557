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

  # How often a host was started, and whether it lives: its supervisor's command line has the machine's name.
  generations = { for key, it in local.machines : key => try(tonumber(trimspace(file("${it.folder}/generation"))), 0) }
  alive = { for key, it in local.machines : key =>
    try(strcontains(file("/proc/${trimspace(file("${it.folder}/supervisor.pid"))}/cmdline"), it.machine), false)
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

  depends_on = [terraform_data.image, module.key, terraform_data.output]
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

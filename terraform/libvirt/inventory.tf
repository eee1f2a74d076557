# The operator's key for the hosts.
module "key" {
  source     = "../modules/key"
  folder     = local.generated
  depends_on = [terraform_data.preflight]
}

# The hosts' own keys are made here and handed over by cloud-init, so the operator's ssh need not trust on first use.
module "host_key" {
  source   = "../modules/key"
  for_each = local.machines

  folder     = "${local.generated}/${each.value.name}"
  depends_on = [module.key]
}

locals {
  known_hosts = "${local.generated}/known_hosts"
  known_hosts_lines = [for key, it in local.machines :
    "${it.address},${it.name} ${join(" ", slice(split(" ", file(module.host_key[key].public_key_file)), 0, 2))}"
  ]
}

# Whether the file is there as it was written: what was never written differs from any state. Apart from what writes it,
# which deletes it before it writes it anew, and would find another answer in the middle of that.
resource "terraform_data" "known_hosts_mark" {
  triggers_replace = fileexists(local.known_hosts) ? try(trimspace(file("${local.known_hosts}.mark")), "") : uuid()
}

resource "terraform_data" "known_hosts" {
  triggers_replace = [
    local.known_hosts_lines,
    terraform_data.known_hosts_mark.triggers_replace,
  ]
  input = local.known_hosts

  provisioner "local-exec" {
    command = "printf '%s\\n' \"$HOST_LINES\" > \"$FILE\" && echo \"$MARK\" > \"$FILE.mark\""
    environment = {
      FILE       = self.input
      HOST_LINES = join("\n", local.known_hosts_lines)
      MARK       = self.triggers_replace[1]
    }
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "rm -f \"$FILE\" \"$FILE.mark\"; rmdir \"$(dirname \"$FILE\")\" 2>/dev/null || true"
    environment = { FILE = self.input }
  }
}

locals {
  inventory_hosts = { for key, host in var.hosts : local.machines[key].name => {
    groups           = host.groups
    address          = local.machines[key].address
    external_address = local.machines[key].address
    ssh_address      = local.machines[key].address
    cpus             = local.emulated ? 1 : host.cpus
    memory_mb        = host.memory_mb
    arch             = var.arch
    emulated         = local.emulated
    id               = module.topology.ids[key]
    rack             = host.rack
    volumes = [for disk in local.host_data_disks[key] : {
      device = "/dev/disk/by-id/wwn-0x${local.data_disks[disk].wwn}"
      path   = local.data_disks[disk].path
    }]
  } }
}

module "inventory" {
  source = "../modules/inventory"

  inventory_folder = module.environment.folder
  generated_folder = local.generated
  user             = "admin"
  hosts            = local.inventory_hosts

  replication_factor = var.replication_factor

  depends_on = [terraform_data.known_hosts]
}

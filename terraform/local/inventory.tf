# The operator's key for the hosts.
module "key" {
  source     = "../modules/key"
  folder     = local.generated
  depends_on = [terraform_data.preflight]
}

# The tables at hand: <checkout>/data/output leads to what every host has as /opt/spark-output.
resource "terraform_data" "output_link" {
  triggers_replace = [local.state, local.output_link]
  input            = { LOCAL_STATE = local.state, LOCAL_OUTPUT_LINK = local.output_link }

  provisioner "local-exec" {
    command     = "${local.scripts}/output_link.sh create"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/output_link.sh delete"
    environment = self.input
  }

  depends_on = [terraform_data.preflight]
}

locals {
  output_link = "${path.root}/../../data/${var.name == "local" ? "output" : "output-${var.name}"}"
}

# The hosts' own keys are made with their disks, so the operator's ssh need not trust on first use.
# Whether the file is there as it was written: what was never written differs from any state. Apart from what writes it,
# which deletes it before it writes it anew, and would find another answer in the middle of that.
resource "terraform_data" "known_hosts_mark" {
  triggers_replace = fileexists(local.known_hosts) ? try(trimspace(file("${local.known_hosts}.mark")), "") : uuid()
}

resource "terraform_data" "known_hosts" {
  triggers_replace = [
    local.addresses,
    [for key in sort(keys(local.machines)) : terraform_data.disk[key].id],
    terraform_data.known_hosts_mark.triggers_replace,
  ]
  input = { LOCAL_KNOWN_HOSTS = local.known_hosts }

  provisioner "local-exec" {
    command = "${local.scripts}/known_hosts.sh create"
    environment = merge(self.input, {
      LOCAL_MARK  = self.triggers_replace[2]
      LOCAL_HOSTS = join("\n", [for it in values(local.machines) : "${it.address},${it.name} ${it.folder}/ssh_host_ed25519_key.pub"])
    })
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/known_hosts.sh delete"
    environment = self.input
  }

  depends_on = [module.key]
}

locals {
  known_hosts = "${local.generated}/known_hosts"
}

module "inventory" {
  source = "../modules/inventory"

  inventory_folder = module.environment.folder
  generated_folder = local.generated
  user             = "admin"
  hosts = { for key, host in var.hosts : local.machines[key].name => {
    groups           = host.groups
    address          = local.machines[key].address
    external_address = local.machines[key].address
    ssh_address      = local.machines[key].address
    cpus             = host.cpus
    memory_mb        = host.memory_mb
    arch             = var.arch
    emulated         = local.emulated
    id               = module.topology.ids[key]
    rack             = host.rack
  } }

  replication_factor = var.replication_factor

  depends_on = [terraform_data.known_hosts]
}

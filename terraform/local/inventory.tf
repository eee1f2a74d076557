# The operator's key for the hosts.
resource "terraform_data" "key" {
  triggers_replace = local.generated
  input            = { LOCAL_GENERATED = local.generated }

  provisioner "local-exec" {
    command     = "${local.scripts}/key.sh create"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/key.sh delete"
    environment = self.input
  }

  depends_on = [terraform_data.preflight]
}

# The tables at hand: <checkout>/data/output leads to what every host has as /opt/spark-output.
resource "terraform_data" "output" {
  triggers_replace = [local.state, local.output_link]
  input            = { LOCAL_STATE = local.state, LOCAL_OUTPUT_LINK = local.output_link }

  provisioner "local-exec" {
    command     = "${local.scripts}/output.sh create"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/output.sh delete"
    environment = self.input
  }

  depends_on = [terraform_data.preflight]
}

locals {
  output_link = "${local.repository}/data/${var.name == "pipeline" ? "output" : "output-${var.name}"}"
}

# The hosts' own keys are made with their disks, so the operator's ssh need not trust on first use.
resource "terraform_data" "known_hosts" {
  triggers_replace = [local.addresses, [for key in sort(keys(local.machines)) : terraform_data.disk[key].id]]

  provisioner "local-exec" {
    command = "${local.scripts}/key.sh known-hosts"
    environment = {
      LOCAL_GENERATED = local.generated
      LOCAL_HOSTS     = join("\n", [for it in values(local.machines) : "${it.address},${it.name} ${it.folder}/ssh_host_ed25519_key.pub"])
    }
  }

  depends_on = [terraform_data.key]
}

module "inventory" {
  source = "../modules/inventory"

  inventory_folder = "${local.repository}/inventories/${local.target}"
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
  } }

  depends_on = [terraform_data.known_hosts]
}

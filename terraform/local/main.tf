locals {
  # Paths in the checkout are relative: it may be moved.
  id        = module.environment.id
  generated = module.environment.generated
  state     = "${var.state_dir}/${local.id}"
  scripts   = "${path.module}/scripts"

  # Terraform runs as the operator; a script that needs root takes it by sudo
  # and gets its arguments through variables that start with LOCAL_.
  environment = {
    LOCAL_ID     = local.id
    LOCAL_STATE  = local.state
    LOCAL_BRIDGE = local.bridge
    LOCAL_SUBNET = local.subnet
    LOCAL_ARCH   = var.arch

    LOCAL_NAME_SERVERS = join(" ", var.name_servers)
  }
}

module "environment" {
  source        = "../modules/environment"
  name          = var.name
  target        = "local"
  wanted_target = var.target
  inventories   = "${path.root}/../../inventories"
  hosts         = keys(var.hosts)
  data          = local.data
  delete_data   = var.delete_data
  known_id      = var.id
}

locals {
  # Of hosts whose environment lay in this folder, and has lost its state: by `git clean -fdx`, say.
  orphans = [for file in try(fileset(var.state_dir, "*/environment"), []) : dirname(file)
    if module.environment.own_state && dirname(file) != local.id && try(trimspace(file("${var.state_dir}/${file}")), "") == module.environment.location
  ]
}

# Where the environment of these hosts lies, for when its state is lost: there before any disk, and after the last.
resource "terraform_data" "location" {
  triggers_replace = [local.state, module.environment.location]
  input            = { LOCAL_STATE = local.state, LOCAL_LOCATION = module.environment.location }

  provisioner "local-exec" {
    command     = "${local.scripts}/location.sh write"
    environment = self.input
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/location.sh delete"
    environment = self.input
  }

  depends_on = [terraform_data.preflight]
}

module "topology" {
  source             = "../modules/topology"
  hosts              = var.hosts
  replication_factor = var.replication_factor
}

# Everything that can be refused is refused here, before anything is made.
resource "terraform_data" "preflight" {
  input = {
    id   = local.id
    name = var.name
  }

  lifecycle {
    precondition {
      condition     = length(module.environment.problems) == 0
      error_message = module.environment.message
    }
    precondition {
      condition     = length(local.orphans) == 0
      error_message = "${join(", ", [for id in local.orphans : "${var.state_dir}/${id}"])} holds disks and tables of the environment that lay in ${module.environment.location}, and Terraform's state of it is not there any more. Was that folder moved? Run make hosts NAME=${var.name} where it is now, then go on here. Is it lost? To take them up again: TF_VAR_id=${try(local.orphans[0], "")} make hosts NAME=${var.name}. To leave them aside: remove the file ${var.state_dir}/${try(local.orphans[0], "")}/environment."
    }
    precondition {
      condition     = length(module.topology.problems) == 0
      error_message = module.topology.message
    }
  }

  provisioner "local-exec" {
    command     = "${local.scripts}/preflight.sh"
    environment = merge(local.environment, { LOCAL_DEBIAN_MIRROR = var.debian_mirror })
  }
}

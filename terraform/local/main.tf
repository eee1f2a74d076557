locals {
  # Eight hex digits that no other checkout or name on this machine has.
  id = substr(sha256("${abspath(path.root)}|${var.name}"), 0, 8)

  target     = var.name == "pipeline" ? "local" : "local-${var.name}"
  repository = abspath("${path.root}/../..")
  generated  = "${local.repository}/generated/${local.target}"
  state      = "${var.state_dir}/${local.id}"
  scripts    = "${path.module}/scripts"

  # Terraform runs as the operator; a script that needs root takes it by sudo
  # and gets its arguments through variables that start with LOCAL_.
  environment = {
    LOCAL_ID     = local.id
    LOCAL_STATE  = local.state
    LOCAL_BRIDGE = local.bridge
    LOCAL_SUBNET = local.subnet
    LOCAL_ARCH   = var.arch
  }
}

module "topology" {
  source             = "../modules/topology"
  hosts              = var.hosts
  replication_factor = var.replication_factor
}

# Everything that can be refused is refused here, before anything is made.
resource "terraform_data" "preflight" {
  input = {
    id        = local.id
    workspace = terraform.workspace
  }

  lifecycle {
    precondition {
      condition     = terraform.workspace == (var.name == "pipeline" ? "default" : var.name)
      error_message = "name is \"${var.name}\" but the Terraform workspace is \"${terraform.workspace}\". Each name has a state of its own; in another's, it would replace that one's hosts. Run: TF_WORKSPACE=${var.name == "pipeline" ? "default" : var.name} terraform apply -var name=${var.name}"
    }
    precondition {
      condition     = length(module.topology.problems) == 0
      error_message = module.topology.message
    }
  }

  provisioner "local-exec" {
    command     = "${local.scripts}/preflight.sh"
    environment = local.environment
  }
}

locals {
  bridge = "imdb-${local.id}"
  subnet = coalesce(var.subnet, format("10.%d.%d.0/24",
  192 + parseint(substr(local.id, 0, 2), 16) % 64, parseint(substr(local.id, 2, 2), 16)))

  addresses = { for key, number in module.topology.numbers : key => cidrhost(local.subnet, number) }

  network_generation = try(tonumber(trimspace(file("${local.state}/network.generation"))), 0)
  network_alive      = fileexists("/sys/class/net/${local.bridge}/address")
}

# A bridge with NAT. It is gone after a reboot of the machine and made again by the next apply.
resource "terraform_data" "network" {
  triggers_replace = [
    local.bridge,
    local.subnet,
    local.network_alive ? local.network_generation : local.network_generation + 1,
  ]
  input = local.environment

  provisioner "local-exec" {
    command     = "${local.scripts}/network.sh up"
    environment = merge(self.input, { LOCAL_GENERATION = self.triggers_replace[2] })
  }
  provisioner "local-exec" {
    when        = destroy
    command     = "${path.module}/scripts/network.sh down"
    environment = self.input
  }

  depends_on = [terraform_data.preflight]
}

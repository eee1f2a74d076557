locals {
  bridge = "imdb-${local.id}"
  subnet = coalesce(var.subnet, format("10.%d.%d.0/24",
  192 + parseint(substr(local.id, 0, 2), 16) % 64, parseint(substr(local.id, 2, 2), 16)))

  addresses = { for key, number in module.topology.numbers : key => cidrhost(local.subnet, number) }

  network_generation = try(tonumber(trimspace(file("${local.state}/network.generation"))), 0)
  network_alive      = fileexists("/sys/class/net/${local.bridge}/address")

  forwarding_generation = try(tonumber(trimspace(file("${local.state}/forwarding.generation"))), 0)
  forwarding            = try(trimspace(file("/proc/sys/net/ipv4/ip_forward")), "0") == "1"
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

# What others on this machine may undo while the hosts run: apart from the bridge, so that hosts stay up for it.
# Terraform can read whether the machine forwards, but no firewall's rules: for these `make` runs `network.sh repair`.
resource "terraform_data" "forwarding" {
  triggers_replace = [
    terraform_data.network.id,
    local.forwarding ? local.forwarding_generation : local.forwarding_generation + 1,
  ]

  provisioner "local-exec" {
    command     = "${local.scripts}/network.sh repair"
    environment = merge(local.environment, { LOCAL_GENERATION = self.triggers_replace[1] })
  }
}

output "hosts" {
  description = "Addresses of the hosts by name."
  value       = { for it in values(local.machines) : it.name => it.address }
}

output "inventory" {
  description = "The generated Ansible inventory."
  value       = module.inventory.inventory
}

output "ssh_config" {
  description = "The generated ssh config: ssh -F <this> <host>."
  value       = module.inventory.ssh_config
}

output "urls" {
  description = "Web UIs by name, as reached from this machine."
  value       = module.inventory.urls
}

output "output" {
  description = "Where the tables appear on this machine."
  value       = abspath(local.output_link)
}

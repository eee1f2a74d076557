output "hosts" {
  description = "Addresses of the hosts by name, as they know each other."
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
  description = "Web UIs by group and host, as reached from this machine while `make tunnel` runs."
  value       = local.urls
}

output "output" {
  description = "Where the tables appear: the bucket."
  value       = local.output
}

output "inventory" {
  description = "Path of the Ansible inventory."
  value       = abspath(local.hosts_file)
}

output "ssh_config" {
  description = "Path of the ssh config."
  value       = abspath(local.ssh_config)
}

output "urls" {
  description = "Web UIs by group and host, as reached from the operator's machine."
  value = { for group, port in local.uis : group => {
    for name, host in var.hosts : name => "http://${host.external_address}:${port}" if contains(host.groups, group)
  } }
}

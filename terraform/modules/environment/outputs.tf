output "id" {
  description = "Eight hex digits that are the environment's own for as long as it lives."
  value       = terraform_data.identity.input
}

output "location" {
  description = "The whole path of the environment's folder, as it is now."
  value       = local.location
}

output "folder" {
  description = "The environment's folder, relative to the root module."
  value       = local.folder
}

output "generated" {
  description = "Folder for the ssh config, the operator's key and the hosts' keys, relative to the root module."
  value       = "${local.folder}/.ssh"
}

output "home" {
  description = "Where the environment was made first; unknown before that."
  value       = local.home
}

output "own_state" {
  description = "Whether Terraform's workspace is the environment's: in another, nothing that it has would be found."
  value       = local.own_state
}

output "problems" {
  description = "Why this run is refused, a sentence or more each. Empty: nothing."
  value       = local.problems
}

output "message" {
  description = "The problems as one text."
  value       = join("\n", local.problems)
}

output "guard" {
  description = "The script that notes data and refuses to delete it unasked, and what it needs to know."
  value = {
    GUARD_FOLDER = local.folder
    GUARD_NAME   = var.name
  }
}

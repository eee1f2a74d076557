output "id" {
  description = "Changes when the key is made anew."
  value       = terraform_data.key.id
}

output "public_key_file" {
  description = "Path of the public key; unknown until it is written, so file(...) of it is read at the right time."
  value       = "${terraform_data.key.output.folder}/id_ed25519.pub"
}

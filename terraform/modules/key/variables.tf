variable "folder" {
  type        = string
  description = "Folder for the key: id_ed25519 and id_ed25519.pub."
}

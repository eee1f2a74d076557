# No provider but the built-in one: this target works without any registry.
terraform {
  required_version = ">= 1.6"

  # An environment's state lies in its folder.
  backend "local" {
    path          = "../../inventories/local/terraform.tfstate"
    workspace_dir = "../../inventories"
  }
}

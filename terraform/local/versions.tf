# No provider but the built-in one: this target works without any registry.
terraform {
  required_version = ">= 1.6"
}

terraform {
  required_version = ">= 1.7"

  # An environment's state lies in its folder. For a state that several operators share: backend.tf.example.
  backend "local" {
    path          = "../../inventories/aws/terraform.tfstate"
    workspace_dir = "../../inventories"
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

# Of the account and the region in which the environment was made. Elsewhere nothing of it would be found, and Terraform would
# take it for deleted.
locals {
  home = try(jsondecode(file("${path.root}/../../inventories/${var.name}/.identity")).home, null)
}

provider "aws" {
  region              = try(local.home.region, var.region)
  allowed_account_ids = try([local.home.account], null)

  default_tags {
    tags = merge({ Project = "imdb-pipeline", Pipeline = var.name, ManagedBy = "terraform" }, var.tags)
  }
}

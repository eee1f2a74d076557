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

provider "aws" {
  region = var.region

  default_tags {
    tags = merge({ Project = "imdb-pipeline", Pipeline = var.name, ManagedBy = "terraform" }, var.tags)
  }
}

terraform {
  required_version = ">= 1.7"

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

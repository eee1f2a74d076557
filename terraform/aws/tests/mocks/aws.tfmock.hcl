# AWS as the tests see it: three zones, Debian's image, and the instance types that they have.

mock_data "aws_availability_zones" {
  defaults = {
    names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  }
}

mock_data "aws_ami" {
  defaults = {
    id           = "ami-00000000000000001"
    owner_id     = "136693071363"
    architecture = "arm64"
  }
}

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "123456789012"
  }
}

mock_data "aws_partition" {
  defaults = {
    partition  = "aws"
    dns_suffix = "amazonaws.com"
  }
}

# Pairs: the type, and at the same place of the other list the zone that has it.
mock_data "aws_ec2_instance_type_offerings" {
  defaults = {
    instance_types = [
      "c7g.medium", "c7g.medium", "c7g.medium",
      "m7g.medium", "m7g.medium", "m7g.medium",
      "c7g.large", "c7g.large", "c7g.large",
      "m7g.large", "m7g.large", "m7g.large",
      "r7g.large", "r7g.large", "r7g.large",
      "c7g.xlarge", "c7g.xlarge", "c7g.xlarge",
      "m7g.xlarge", "m7g.xlarge", "m7g.xlarge",
      "r7g.2xlarge", "r7g.2xlarge", "r7g.2xlarge",
      "t4g.nano", "t4g.nano", "t4g.nano",
      "t4g.medium", "t4g.medium", "t4g.medium",
    ]
    locations = [
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
      "eu-central-1a", "eu-central-1b", "eu-central-1c",
    ]
  }
}

"""A test double of the AWS provider: `pulumi-resource-aws` for the tests' own engine, based on moto and the sandbox.

It is not AWS and not a real provider, and proves nothing about AWS itself. It turns the resource types that this project uses
into boto3 calls, so that the real engine can run the whole AWS stack without an account: up, preview, update, replace, destroy.

- Control plane: a moto server on loopback, found by AWS_ENDPOINT_URL like any AWS tool does. moto stores policies but enforces none.
- EC2 instances: each boots a machine of the sandbox, to which the user data is applied (`user_data.py`); an Elastic IP is an address that the
  sandbox's router translates, as AWS does. Security groups, route tables and gateways are only records: they filter nothing.
- S3's data plane: buckets, Object Lock and the IAM users' keys are mirrored into the sandbox's minio, which enforces lock, conditional writes and
  the users' own policies. Not mirrored, because minio lacks them: the bucket policy (its conditions on principals, TLS, conditional writes and
  retention), lifecycle, encryption, ownership and the public access block. `tests/enforced` tries these on servers that have them.
- No eventual consistency, no throttling, no quotas (but see `faults`), no prices.

A type, property or function that is not in its tables is refused, so that nothing a component asks for is ignored.
"""

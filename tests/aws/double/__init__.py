"""A test double of the AWS provider: `pulumi-resource-aws` for the tests' own engine, standing on moto and the sandbox.

It is no AWS and no provider: it lives in tests only, and proves nothing about AWS itself. It turns the resource types that this project uses
into boto3 calls, so that the real engine can run the whole AWS stack without an account: up, preview, update, replace, destroy.

- Control plane: a moto server on loopback, found by AWS_ENDPOINT_URL as with any AWS tool. moto takes policies, it enforces none.
- EC2 instances: each boots a machine of the sandbox and gets the user data applied (`user_data.py`); an Elastic IP is an address that the
  sandbox's router translates, as AWS does. Security groups, route tables and gateways are records only: nothing filters by them.
- S3's data plane: buckets, Object Lock and the IAM users' keys are mirrored into the sandbox's minio, which enforces lock, conditional writes and
  the users' own policies. Not mirrored, because minio has no such thing: the bucket policy (its conditions on principals, TLS, conditional writes and
  retention), lifecycle, encryption, ownership and the public access block. `tests/enforced` tries what those say, on engines that know them.
- No eventual consistency, no throttling, no quotas (but see `faults`), no prices.

A type, a property or a function that is not in its tables is refused, so that nothing which a component asks for is dropped unseen.
"""

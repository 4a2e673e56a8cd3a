import sys, json, tempfile
from pathlib import Path
from tests.enforced.servers import versity
with tempfile.TemporaryDirectory() as d:
    with versity(Path(d)) as v:
        v.make_bucket("backups","GOVERNANCE",1)
        from sandbox.policy import source_policy
        web1 = v.add_identity("web1", source_policy("backups","web1/"))
        s3 = v.client(web1)
        print(s3.put_object(Bucket="backups", Key="web1/data/aa", Body=b"x"))
        print(v.root.list_object_versions(Bucket="backups").get("Versions"))
        for k in ("web1/data/aa","db1/data"):
            try: print(s3.delete_object(Bucket="backups", Key=k))
            except Exception as e: print(e)
        BG=v.arn("break-glass")
        pol={"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Deny","Principal":"*","Action":["s3:DeleteObject"],"Resource":"arn:aws:s3:::backups/*","Condition":{"ArnNotLike":{"aws:PrincipalArn":BG}}},
          {"Sid":"T","Effect":"Deny","Principal":"*","Action":["s3:*"],"Resource":["arn:aws:s3:::backups/*","arn:aws:s3:::backups"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}
        print(v.root.put_bucket_policy(Bucket="backups", Policy=json.dumps(pol)))
        adm = v.add_identity("admin", {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]})
        a = v.client(adm)
        for f in (lambda: a.delete_object(Bucket="backups", Key="web1/data/aa"), lambda: a.list_objects_v2(Bucket="backups")["KeyCount"]):
            try: print(f())
            except Exception as e: print(e)
        from tests.enforced.servers import s3_client
        p = s3_client(v.plain_endpoint, v.ca, adm.access_key, adm.secret_key)
        try: print(p.list_objects_v2(Bucket="backups")["KeyCount"])
        except Exception as e: print(e)
        ev = v.add_identity("ev", {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"s3:PutObject","Resource":"*","Condition":{"Null":{"s3:if-none-match":"true"}}}]})
        print(v.decide(ev,"s3:PutObject","arn:aws:s3:::b/k",{}), v.decide(ev,"s3:PutObject","arn:aws:s3:::b/k",{"s3:if-none-match":"*"}))

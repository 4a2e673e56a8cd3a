"""`python -m tests.aws.double ENGINE_ADDRESS`: the plugin, started by the engine; prints its port."""

import sys

from tests.aws.double.provider import serve

sys.exit(serve())

"""A node of release 0.2: see `older_release`."""

from tests.cluster.older_release import begin

if __name__ == "__main__":
    begin("0.2")

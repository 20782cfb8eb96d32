"""How a node begins that may open few files: `kraftpy.testing.Cluster(launcher="tests.cluster.few_files")`."""

import resource
import runpy

FILES_MAX = 1_024

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    runpy.run_module("kraftpy.testing.launch", run_name="__main__", alter_sys=True)

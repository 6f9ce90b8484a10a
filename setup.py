"""Empties build/lib first: what an earlier build left there would be shipped with this one."""

import shutil

from setuptools import setup

shutil.rmtree("build/lib", ignore_errors=True)
setup()

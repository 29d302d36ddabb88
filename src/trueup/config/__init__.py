"""What `trueup.yaml` says, typed and checked: `load_config` reads it, `json_schema` describes it to editors, `mapping_spec` keeps it."""

from trueup.config.describe import mapping_fingerprint, mapping_spec, restore_mapping
from trueup.config.editor import json_schema
from trueup.config.load import DEFAULT_FILE, load_config

__all__ = ["DEFAULT_FILE", "json_schema", "load_config", "mapping_fingerprint", "mapping_spec", "restore_mapping"]

"""What exists: hooks, providers, options, and the discovery of installed plugins. Imports no torch."""

from auxlearn.registry.discovery import discover as discover
from auxlearn.registry.hooks import hookimpl as hookimpl
from auxlearn.registry.installed import API_VERSION as API_VERSION
from auxlearn.registry.installed import OLDEST_API as OLDEST_API
from auxlearn.registry.names import unusable_name as unusable_name
from auxlearn.registry.options import Option as Option
from auxlearn.registry.options import option as option
from auxlearn.registry.provider import KINDS as KINDS
from auxlearn.registry.provider import CheckContext as CheckContext
from auxlearn.registry.provider import DataFacts as DataFacts
from auxlearn.registry.provider import Kind as Kind
from auxlearn.registry.provider import NoParams as NoParams
from auxlearn.registry.provider import Provider as Provider
from auxlearn.registry.registry import Blocked as Blocked
from auxlearn.registry.registry import Broken as Broken
from auxlearn.registry.registry import Found as Found
from auxlearn.registry.registry import Registry as Registry

__all__ = [
    "API_VERSION",
    "KINDS",
    "OLDEST_API",
    "Blocked",
    "Broken",
    "CheckContext",
    "DataFacts",
    "Found",
    "Kind",
    "NoParams",
    "Option",
    "Provider",
    "Registry",
    "discover",
    "hookimpl",
    "option",
    "unusable_name",
]

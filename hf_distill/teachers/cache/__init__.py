"""A teacher's answers, computed once and stored by example."""

from hf_distill.teachers.cache.building import cache_teacher_outputs
from hf_distill.teachers.cache.cached_teacher import CachedTeacher
from hf_distill.teachers.cache.fingerprint import CacheMismatch

__all__ = ["CacheMismatch", "CachedTeacher", "cache_teacher_outputs"]

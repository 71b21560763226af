"""Tests of many pictures."""

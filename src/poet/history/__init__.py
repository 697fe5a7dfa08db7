"""Histories of any size: from a store or from tables of Parquet, part by part, on one machine or on many."""

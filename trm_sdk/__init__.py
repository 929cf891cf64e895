"""trm_sdk."""

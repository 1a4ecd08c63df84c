"""Scrapy, with its limits raised and every unneeded feature that costs time switched off."""

from __future__ import annotations

import sys

import scrapy
from scrapy.crawler import CrawlerProcess

from pages import lines

SETTINGS = {
    "CONCURRENT_REQUESTS": 128,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 128,
    "DOWNLOAD_DELAY": 0,
    "LOG_ENABLED": False,
    # Otherwise it would fetch pages that are not in the list.
    "METAREFRESH_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
}


class Pages(scrapy.Spider):
    """Title and links of each page of a list."""

    name = "pages"
    urls: list[str] = []

    async def start(self):
        """Every URL, without the duplicate filter."""
        for url in self.urls:
            yield scrapy.Request(url, dont_filter=True)

    def parse(self, response):
        """Yield one item per page."""
        yield {
            "url": response.url,
            "status": response.status,
            "title": response.css("title::text").get(),
            "links": response.css("a::attr(href)").getall(),
        }


def main() -> None:
    """Crawl the list into a JSON-lines feed."""
    urls, out = sys.argv[1:]
    process = CrawlerProcess({**SETTINGS, "FEEDS": {out: {"format": "jsonlines", "overwrite": True}}})
    process.crawl(Pages, urls=lines(urls))
    process.start()


if __name__ == "__main__":
    main()

"""The page at /, in a browser."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.browser.chromium import assert_accessible


async def test_the_page_opens_without_any_error(page: Page) -> None:
    await expect(page).to_have_title("graph-runtime")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()


async def test_everybody_can_use_the_page(page: Page) -> None:
    await assert_accessible(page)

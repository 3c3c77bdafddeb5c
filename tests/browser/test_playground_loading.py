"""The playground, opened while its model still loads."""

from __future__ import annotations

from playwright.async_api import Page, Route, expect


async def test_what_a_model_can_draw_is_offered_once_it_is_loaded(page: Page) -> None:
    async def still_loading(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        for model in told["data"]:
            if model["id"] == "shapes":  # as the server tells it until the model is there
                details = {"state": "LOADING", "graph": "graphs/shapes", "makes_images": None}
                model |= {"state": "LOADING", "graph_runtime": details}
        await route.fulfill(response=answer, json=told)

    size = page.get_by_label("Size", exact=True)
    await page.clock.install()
    await page.route("**/v3/models", still_loading)
    await page.reload()
    await expect(page.get_by_text("It is loading; a request waits until it is there.")).to_be_visible()
    await expect(page.get_by_role("button", name="Generate")).to_be_enabled()
    await expect(size).to_have_value("")
    await page.unroute("**/v3/models")
    await page.clock.run_for(3000)
    await expect(size.get_by_role("option").first).to_have_text("64 × 64")
    await expect(size).to_have_value("")
    await expect(page.get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "50")

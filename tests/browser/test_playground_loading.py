"""The playground, opened while its model still loads, and where many models cannot be used."""

from __future__ import annotations

from playwright.async_api import Page, Route, expect

LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"


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
    for _ in range(3):  # whoever goes to other tabs and comes back meanwhile makes it ask no more often
        async with page.expect_response("**/v3/models"):
            await page.evaluate(LOOK_AGAIN)
    await page.unroute("**/v3/models")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.clock.run_for(3000)
    await expect(size.get_by_role("option").first).to_have_text("64 × 64")
    await expect(size).to_have_value("")
    await expect(page.get_by_label("Steps", exact=True)).to_have_attribute("placeholder", "50")
    assert [url.rpartition("/v3/")[2] for url in asked] == ["models"]


async def test_the_reasons_of_many_models_that_cannot_be_used_leave_the_form_in_sight(page: Page) -> None:
    async def thirty_failed(route: Route) -> None:
        answer = await route.fetch()
        told = await answer.json()
        (broken,) = (model for model in told["data"] if model["id"] == "broken")
        told["data"] += [{**broken, "id": f"broken/{number}"} for number in range(29)]
        await route.fulfill(response=answer, json=told)

    await page.route("**/v3/models", thirty_failed)
    await page.reload()
    await expect(page.get_by_label("Prompt", exact=True)).to_be_in_viewport()
    reason = page.get_by_text("broken/28 cannot be used:")
    await expect(reason).to_be_hidden()
    await page.get_by_text("30 models cannot be used").click()
    await expect(reason).to_be_visible()
    async with page.expect_response("**/v3/models"):
        await page.evaluate(LOOK_AGAIN)
    await page.evaluate("new Promise(requestAnimationFrame)")
    await expect(reason).to_be_visible()  # it stays open

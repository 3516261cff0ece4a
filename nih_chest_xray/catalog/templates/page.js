"use strict";
{
  const byId = (id) => document.getElementById(id);
  const announce = (text) => { byId("announcement").textContent = text; };

  // If the page may not write to the clipboard, the old command copies the selection.
  const copySelected = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  };

  for (const button of document.querySelectorAll(".copy")) {
    const text = button.firstChild;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const node = byId(button.dataset.copies);
      let copied = true;
      try {
        await navigator.clipboard.writeText(node.textContent);
      } catch {
        copied = copySelected(node);
      }
      text.data = copied ? "Copied" : "Selected";
      announce(copied ? "Copied to the clipboard." : "Selected. Copy it with the keyboard.");
      setTimeout(() => { text.data = "Copy"; }, 2000);
    });
  }

  // The code of one library is seen at a time. Without this script all are, one after the other.
  for (const tabs of document.querySelectorAll(".tabs")) {
    const panels = [...tabs.children];
    const list = document.createElement("div");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", tabs.dataset.label);
    const buttons = panels.map((panel, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("role", "tab");
      button.textContent = panel.querySelector("h3").textContent;
      button.id = `${tabs.dataset.label}-tab-${number}`;
      panel.id = `${tabs.dataset.label}-panel-${number}`;
      button.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", button.id);
      return button;
    });
    const choose = (chosen) => {
      buttons.forEach((button, number) => {
        button.setAttribute("aria-selected", number === chosen);
        button.tabIndex = number === chosen ? 0 : -1;
        panels[number].hidden = number !== chosen;
      });
    };
    const places = { ArrowLeft: (at) => at - 1, ArrowRight: (at) => at + 1, Home: () => 0, End: () => -1 };
    buttons.forEach((button, at) => {
      button.addEventListener("click", () => choose(at));
      button.addEventListener("keydown", (event) => {
        if (!(event.key in places)) return;
        event.preventDefault();
        const next = (places[event.key](at) + buttons.length) % buttons.length;
        choose(next);
        buttons[next].focus();
      });
    });
    list.append(...buttons);
    tabs.prepend(list);
    tabs.classList.add("on");
    choose(0);
  }
}

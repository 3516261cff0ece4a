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
}

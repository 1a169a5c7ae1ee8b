// The visitor's own pictures: cut to a square here, sent to this page's own server, held in memory.

const held = []; // {name, data}

export function take(files, limits, told, opened) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  if (!pictures.length) {
    if (files.length) told("These are no pictures.");
    return Promise.resolve();
  }
  return add(pictures, limits, told, opened);
}

async function add(pictures, limits, told, opened) {
  const wrong = [];
  for (const file of pictures.slice(-limits.most)) {
    try {
      held.push({ name: file.name.replace(/\.[^.]*$/, ""), data: await square(file, limits.side) });
    } catch {
      wrong.push(`${file.name} does not read as a picture.`);
    }
  }
  const over = Math.max(0, held.length - limits.most);
  held.splice(0, over);
  const left = over + Math.max(0, pictures.length - limits.most);
  if (held.length < 2) {
    if (held.length) wrong.push("One picture is here. Drop or paste another: a mix takes two.");
    told(wrong.join(" "));
    return;
  }
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch("own", { method: "POST", headers, body: JSON.stringify(held) });
  const text = await answer.text();
  if (!answer.ok) {
    held.length = 0;
    told(answer.status === 400 ? JSON.parse(text).wrong : text);
    return;
  }
  opened(JSON.parse(text).data, held.length);
  if (left) wrong.push(`There is room for ${limits.most} pictures: the first ${left} gave way.`);
  if (wrong.length) told(wrong.join(" "));
}

// the middle of a picture, so many pixels wide, as base64
async function square(file, side) {
  const image = await createImageBitmap(file);
  const edge = Math.min(image.width, image.height);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const brush = canvas.getContext("2d");
  brush.fillStyle = "white";
  brush.fillRect(0, 0, side, side);
  brush.imageSmoothingQuality = "high";
  const left = (image.width - edge) / 2;
  const top = (image.height - edge) / 2;
  brush.drawImage(image, left, top, edge, edge, 0, 0, side, side);
  return canvas.toDataURL("image/jpeg", 0.92).split(",")[1];
}

package checklist

import "maps"

// texts is what is told of each probe, by ID.
func texts() map[string]text {
	all := make(map[string]text)
	for _, topic := range textsByTopic() {
		maps.Copy(all, topic)
	}
	return all
}

func textsByTopic() []map[string]text {
	return []map[string]text{tokenTexts(), personTexts(), accessTexts(), signatureTexts(), decisionTexts(), contentTexts(), robustnessTexts()}
}
